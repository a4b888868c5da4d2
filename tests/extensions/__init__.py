"""Extensions in a single file each, as a user of the harness would write them."""
