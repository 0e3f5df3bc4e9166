"""How a good face becomes a degraded one.

recipes: the named ranges and the sampled parameters. stills: applies them to a picture. film: one frame of an encoded
clip. video: a whole clip. codecs: encoders and file formats. masks: regions to be inpainted.
"""
