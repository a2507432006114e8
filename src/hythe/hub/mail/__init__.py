"""Mail: texts, links, the queue, and its delivery by SMTP."""
