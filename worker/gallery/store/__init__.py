"""Places of pictures: a folder, a bucket."""
