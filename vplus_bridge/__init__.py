"""The bridge to vPlus: its client, our mirror of it, whose things are, what people asked, and what is protected."""
