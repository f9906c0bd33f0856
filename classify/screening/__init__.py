"""Which of many backbones, layers and sizes for these images: a sample decides what is worth all of them."""
