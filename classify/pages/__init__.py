"""What all pages share: templates, styles, text."""
