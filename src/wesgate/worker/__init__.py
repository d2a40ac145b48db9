"""The program beside the steps: stage in, run each step, stage out, leave result.json."""
