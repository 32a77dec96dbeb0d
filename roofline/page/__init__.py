"""One page to share: an estimate as a file that needs no network, for screens, print and screen readers."""
