"""Files from elsewhere: read carefully, refused clearly, taken in whole or not at all."""
