"""The classifier: says how hard a prompt is and what kind it is.

A service of its own. It imports no other part of Pointsman; they meet over HTTP.
"""
