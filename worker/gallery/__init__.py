"""A web page to look through generated pictures, to keep or reject them, and to have the kept ones finished."""
