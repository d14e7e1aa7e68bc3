"""Files and folders on disk: atomic writing, removal, union of trees."""
