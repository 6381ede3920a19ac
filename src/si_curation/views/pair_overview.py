plot_pair_overview = None
