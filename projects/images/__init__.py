"""Images: upload, decoding, thumbnails, queries, similarity, and the bin."""
