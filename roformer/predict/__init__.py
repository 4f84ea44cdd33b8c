"""What a trained model says about new texts: predictions of a fine-tuned one, vectors of any encoder."""
