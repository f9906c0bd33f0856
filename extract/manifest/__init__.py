"""Where images come from: folders, tables, object stores."""
