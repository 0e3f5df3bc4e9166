"""Reading and writing photos, videos and GIFs: pixels, timing and metadata.

Import the modules themselves (`likeness.media.images`, `.video`, `.gif`), so that a program that only handles photos
does not load PyAV.
"""
