"""tclap: teach contrastive audio-language models the order of sounds, and measure what teaches it best."""

__version__ = "0.1.0"
