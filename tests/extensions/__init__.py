"""Extensions of one file each, as somebody else would write them."""
