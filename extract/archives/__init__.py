"""Files that hold images: tar, zip and parquet, whose members are read where they are."""
