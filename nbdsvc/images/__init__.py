"""Sources of images, and the inspection that decides whether an image may be opened."""
