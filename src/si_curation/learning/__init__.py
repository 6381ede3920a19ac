"""Labels of units that are learnt from the labels of curators."""
