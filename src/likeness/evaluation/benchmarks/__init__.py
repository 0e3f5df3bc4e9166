"""Named sets of faces, photos and clips that methods are evaluated on."""
