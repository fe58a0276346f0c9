"""The harness: one trial from configuration to logged measurements; a study from first trial to last."""
