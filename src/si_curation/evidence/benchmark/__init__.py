"""How far to trust suggestions in a folder: its good units, changed on copies."""
