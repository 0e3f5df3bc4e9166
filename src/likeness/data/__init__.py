"""Training data, in the order of its flow.

faces: manifest and cache. attributes: sampling weights of rare faces. sources: faces by index. augment: changes of the
truth. degradations: changes of the input. pairs: samples. collate: batches. loaders: samplers. modules: Lightning.
photos and synthetic_faces serve tests, the gate and calibration.
"""
