"""Where things are in images: how each family writes boxes, and what that means in pixels. Pure; loads no model."""
