"""The guide: one Markdown page a topic, shipped with the package. ``ggufvlm help`` shows it, and so does GitHub."""
