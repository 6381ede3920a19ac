"""What is wrong with a Kilosort/phy folder, and what to do about it."""
