"""Maps of images: points, and the images nearest to those that are opened."""
