"""From a task's paths and URLs to files and back, without being led astray by links."""
