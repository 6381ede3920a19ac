"""Views for spikeinterface-gui, and opening it with them; needs the extra ``gui``."""
