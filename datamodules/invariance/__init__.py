"""Which images look the same on the left as on the right, and so can be pieces of a long one.

The dataset preparation of [ALIS] Algorithm 1, in a form that is symmetric and cross-fitted. A
classifier learns to tell whether a patch comes from the left or the right side of its image. An
image that it finds hard is a good piece of a panorama; one whose sides give themselves away
(vignettes, framing, a single object in the middle) is not. Here

- every image is scored by a model that never saw it: K folds by hashed file name, each scored by
  a model of the other folds;
- left and right are treated alike: a patch and its mirror image have opposite labels, so
  `p(flip(x)) = 1 - p(x)`, and what counts is the side that gives itself away most,
  `score = max(1 - p_left, p_right)`, with `p` the probability of "right".

References:
    [ALIS] Skorokhodov, Sotnikov, Elhoseiny: Aligning Latent and Image Spaces to Connect the
    Unconnectable, ICCV 2021. arXiv:2104.06954
"""
