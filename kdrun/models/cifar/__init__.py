"""The networks of the CIFAR distillation literature, for images of 32×32 pixels; a module a family.

Sizes agree with the tables of Tian, Krishnan & Isola (2020), "Contrastive Representation Distillation".
Every network has the taps ``map_1`` … (output of each resolution level), ``map``, ``feature`` and ``head``;
``map_1_pre`` … are the same before their last ReLU, where a family has one.
"""
