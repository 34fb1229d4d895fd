"""
Choose the size, beta and a prior without labels
================================================

Nobody has told you which rows are abnormal, so no AUROC can be computed. What can be
looked at are the density of rows that no fit has seen, and what each latent dimension
carries.
"""

# %%
# Handwritten digits, some of which no fit sees:

import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from latentsk import PCAEmbedder, VAEEmbedder

X = load_digits().data / 16
train, test = train_test_split(X, test_size=500, random_state=0)

# %%
# **The number of components.** ``score`` is the mean log-density of rows: of a
# variational autoencoder the ELBO, a lower bound of it. It is in nats, for the same
# features in the same units, so that both kinds of model can be compared:

sizes = [2, 4, 8, 16, 32]
common = {"standardize": False, "max_epochs": 60, "random_state": 0}
vaes = [VAEEmbedder(k, kl_warmup=0.5, **common).fit(train) for k in sizes]
elbos = [vae.score(test) for vae in vaes]
densities = [PCAEmbedder(k).fit(train).score(test) for k in sizes]
fig, ax = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
ax.plot(sizes, elbos, "o-", label="VAEEmbedder")
ax.plot(sizes, densities, "s--", label="PCAEmbedder")
ax.set_xscale("log", base=2)
ax.set_xticks(sizes, sizes)
ax.set(xlabel="n_components", ylabel="density of rows left out (nats)")
ax.legend()
# sphinx_gallery_alt = "Density of digits left out, for 2 to 32 components. That of "
# sphinx_gallery_alt = "the VAE rises steeply up to 8, is highest at 16 and lower at "
# sphinx_gallery_alt = "32. That of PCA is lower, rises all the way and passes it "
# sphinx_gallery_alt = "at 32."

# %%
# The curve of the VAE bends at 8 and is highest at 16: take 8, or 16 where the last
# nats count. More than that does some harm, here of 3 nats.
#
# **The best is the largest that was tried**, as for PCA here? Then the search has no
# answer yet: try twice as many. On images it may have none, and the density of PCA goes
# on rising up to the number of pixels, of which some hardly vary: each component makes
# these likelier. Take the size at which the curve bends, or else
# ``n_components="auto"`` (99 % of the variance), or as many as you can afford.

# %%
# **What each dimension carries** is in the report of a VAE. "active" means that its
# mean moves at all; look at "kl", and count those that carry more than 0.1 nats. If
# all do, try more; the others could be left out:

rows = []
for vae in vaes:
    report = vae.latent_report(test)
    used = int((report.dimensions["kl"] > 0.1).sum())
    rows.append((vae.n_components_, report.n_active, used, report.distance_from_prior))
columns = ["n_components", "active", "kl > 0.1", "distance from prior"]
print(pd.DataFrame(rows, columns=columns).round(2).to_string(index=False))

# %%
# **beta** weighs the divergence (KL). Above 1 the latent coordinates carry less; below
# 1 they carry more, and those of all rows together are farther from the prior, so that
# draws from it look less like rows. Compare by what you need, not by the loss, which
# has `beta` in it:

rows = []
for beta in (0.3, 1.0, 3.0):
    model = VAEEmbedder(8, beta=beta, **common).fit(train)
    report = model.latent_report(test)
    rows.append((beta, model.score(test), report.kl, report.distance_from_prior))
columns = ["beta", "ELBO", "KL", "distance from prior"]
print(pd.DataFrame(rows, columns=columns).round(2).to_string(index=False))

# %%
# **A prior** is chosen the same way, by the density of rows left out: densities are in
# the units of the rows, whatever the prior.

for prior in ("normal", "mixture"):
    model = VAEEmbedder(2, prior=prior, **common).fit(train)
    density, _ = model.log_likelihood(test[:200], random_state=0)
    print(f"{prior:8}{density.mean():8.2f} nats")
plt.show()
