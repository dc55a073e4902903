"""Tables beside the published numbers, and plots; plain frames in, files out."""
