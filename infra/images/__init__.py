"""The two images: what goes into them, how it is installed, and what it is known by afterwards."""
