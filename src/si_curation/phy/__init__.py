"""The folder format of Kilosort and phy: reading and checking. No SpikeInterface objects."""
