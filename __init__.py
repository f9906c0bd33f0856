"""fc7: frozen backbones, cached embeddings, fast heads, honest comparison.

The root stays inert; the names live in their rooms::

    from fc7.extract import extract, load_backbone, read_manifest
    from fc7.classify import Bundle, compare, fit
"""

__version__ = "0.1.0"
