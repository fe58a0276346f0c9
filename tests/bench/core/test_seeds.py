from bench.core.seeds import derive_seed


def test_seeds_of_a_published_study_stay_what_they_were():
    assert [derive_seed(0, "vae", 3), derive_seed("test"), derive_seed()] == [1618580298, 1338206272, 1910006305]


def test_seeds_depend_on_each_name_and_on_where_one_ends():
    names = [(0, "vae", 1), (0, "vae", 2), (1, "vae", 1), (0, "glow", 1), ("0", "vae1"), ("ab", "c"), ("a", "bc")]
    assert len({derive_seed(*each) for each in names}) == len(names)


def test_seeds_are_such_as_every_library_takes():
    seeds = [derive_seed("range", i) for i in range(2000)]
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert max(seeds) > 2**30
