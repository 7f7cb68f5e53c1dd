"""Our training operators beside Google's."""
