"""Networks and their wrappers: (x_t, sigma, context) -> x0_hat."""
