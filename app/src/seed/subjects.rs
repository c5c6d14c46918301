//! What the demonstration articles are about: subjects with their words and sentences, categories, tags, authors.
//!
//! `{thing}` and `{other}` are things of the subject, in the plural; `{place}` is a place, `{n}` a number.

/// A category that articles are written in.
pub(super) struct Subject {
    /// Position of the category above it in [`SECTIONS`].
    pub(super) section: usize,
    /// Name, slug, description.
    pub(super) category: (&'static str, &'static str, &'static str),
    /// What it speaks of, in the plural.
    pub(super) things: &'static [&'static str],
    /// What only this subject says.
    pub(super) sentences: &'static [&'static str],
}

/// The categories at the top: name, slug, description.
pub(super) const SECTIONS: [(&str, &str, &str); 3] = [
    ("Outdoors", "outdoors", "Rock, water and weather, seen on foot."),
    ("Making", "making", "Things built or baked with patience."),
    ("Computing", "computing", "Machines that talk, and what they remember."),
];

pub(super) const SUBJECTS: [Subject; 6] = [
    Subject {
        section: 0,
        category: ("Mountains", "mountains", "Ridges, glaciers and the long way down."),
        things: &[
            "granite ridges",
            "cirque lakes",
            "rope teams",
            "early starts",
            "north faces",
            "hanging glaciers",
            "scree slopes",
            "summit registers",
            "bivouacs",
            "weather windows",
            "old cairns",
            "pack animals",
        ],
        sentences: &[
            "A cirque is what remains when a glacier has finished its argument with the rock.",
            "Above {n} metres the body keeps its own accounts, and it never forgets a debt.",
            "We left the hut at four, because {thing} do not wait for breakfast.",
            "The map showed a path; the mountain showed {thing} instead.",
            "On the way down near {place} we counted {n} false summits, and believed in each of them.",
            "Nobody conquers a peak: one is allowed up, and with luck also down.",
            "The guide from {place} said little about {thing} and everything about turning round in time.",
            "Snow that was firm at dawn had become porridge by noon.",
        ],
    },
    Subject {
        section: 0,
        category: ("Rivers", "rivers", "Where water goes, and what it takes along."),
        things: &[
            "slow meanders",
            "flood marks",
            "ferry landings",
            "gravel bars",
            "weirs",
            "spring tides",
            "oxbow lakes",
            "river pilots",
            "willow banks",
            "locks",
            "tributaries",
            "low bridges",
        ],
        sentences: &[
            "A river is never late, it only changes its mind about the route.",
            "The gauge at {place} has recorded {n} floods, and the wall of the inn remembers three more.",
            "Where the current bends, {thing} grow on one side and disappear on the other.",
            "The pilot read {thing} the way others read a newspaper: quickly, and with mistrust.",
            "After {n} kilometres the water was as brown as tea and in no hurry at all.",
            "Most of what we call the bank is only the river on holiday.",
            "In dry years {thing} come to light that nobody had missed.",
        ],
    },
    Subject {
        section: 1,
        category: ("Towers", "towers", "Why people build upwards, and what holds it there."),
        things: &[
            "bell towers",
            "lighthouses",
            "water towers",
            "stair turrets",
            "watchtowers",
            "spires",
            "scaffolds",
            "flying buttresses",
            "clock faces",
            "foundations",
            "lightning rods",
            "lattice masts",
        ],
        sentences: &[
            "A tower is mostly a promise about its foundations.",
            "The stairs have {n} steps, of which the last forty are the ones that count.",
            "From {place} one sees {thing} in every direction, and none of them is quite upright.",
            "Wind is the one visitor that always takes the stairs in a single breath.",
            "The builders left holes for {thing}, and swallows have rented them ever since.",
            "What looks like ornament at the top is weight, put there to keep the stones from quarrelling.",
            "The keeper wound the clock every {n} hours and dreamt in quarters.",
        ],
    },
    Subject {
        section: 1,
        category: ("Bread", "bread", "Flour, water, salt and time, in changing proportions."),
        things: &[
            "sourdough starters",
            "rye loaves",
            "stone ovens",
            "long proofs",
            "crusts",
            "baking sheets",
            "grain mills",
            "cooling racks",
            "braided loaves",
            "wet doughs",
            "bakers' peels",
            "morning queues",
        ],
        sentences: &[
            "Dough keeps time better than most clocks, and forgives almost as little.",
            "Salt goes in late; regret goes in early.",
            "The baker in {place} feeds {thing} before feeding the family, and nobody complains.",
            "At {n} degrees the crust decides, and the crumb has to live with it.",
            "We tried {thing} for {n} days, and on the last one the neighbours began to visit.",
            "A loaf that sings while it cools is telling you that the crust was thin enough.",
            "Of all {thing}, the plainest are the hardest to get right twice.",
        ],
    },
    Subject {
        section: 2,
        category: ("Networks", "networks", "How messages find their way, and what happens when they do not."),
        things: &[
            "retries",
            "timeouts",
            "load balancers",
            "slow backends",
            "health checks",
            "full queues",
            "idle connections",
            "packet captures",
            "certificates",
            "maintenance windows",
            "rolling restarts",
            "undersea cables",
        ],
        sentences: &[
            "A timeout is a decision that somebody forgot to make in advance.",
            "The packet left {place} on time; what arrived {n} milliseconds later was its apology.",
            "Put {thing} in front of {other} and you have a system; put them behind and you have an incident.",
            "Retries are kindness in small numbers and an attack in large ones.",
            "The graph was flat for {n} days, which should have worried us sooner.",
            "Every backend is healthy until the first question that matters.",
            "We drew {thing} on the whiteboard as a cloud, and were surprised when it rained.",
            "Nothing travels faster than a wrong answer from a cache.",
        ],
    },
    Subject {
        section: 2,
        category: ("Databases", "databases", "Keeping facts, and giving back the same ones."),
        things: &[
            "indexes",
            "slow queries",
            "replicas",
            "write-ahead logs",
            "migrations",
            "cursors",
            "long transactions",
            "backups",
            "unique constraints",
            "query plans",
            "foreign keys",
            "connection pools",
        ],
        sentences: &[
            "A backup that was never restored is a rumour.",
            "The page at depth {n} cost as much as the first one, and nobody noticed: that was the point.",
            "Indexes are promises about the questions that will be asked.",
            "The replica in {place} was {n} milliseconds behind and a whole decision late.",
            "Ask for {thing} by name, or the planner will choose {other} for you.",
            "Two rows with the same timestamp are one too many for a careless cursor.",
            "We dropped the column on a Friday, which says all there is to say about {thing}.",
        ],
    },
];

/// Shapes of titles.
pub(super) const TITLES: [&str; 14] = [
    "What {thing} teach about {other}",
    "In praise of {thing}",
    "A short history of {thing} in {place}",
    "{n} things nobody says about {thing}",
    "Between {thing} and {other}",
    "Notes on {thing}, taken in {place}",
    "The quiet arithmetic of {thing}",
    "How {place} learned to live with {thing}",
    "Against {thing}",
    "Why {thing} fail, and {other} do not",
    "A year of {thing}",
    "{thing}: a field guide",
    "Letters from {place}: {thing}",
    "The last of the {thing}",
];

/// Ends of a few titles, in other scripts.
pub(super) const SUBTITLES: [&str; 6] = [
    " — 山と塔",
    " — заметки на полях",
    " · μικρά πράγματα",
    " (naïve, à la carte)",
    " — 高塔与河流",
    " ✦ smørrebrød",
];

/// Places, not all of which fit into ASCII.
pub(super) const PLACES: [&str; 16] = [
    "Zürich",
    "Łódź",
    "São Paulo",
    "Reykjavík",
    "Lander",
    "Tromsø",
    "Kraków",
    "Île de Ré",
    "Hanoi",
    "Göteborg",
    "Oaxaca",
    "Tórshavn",
    "Bergen",
    "Ürümqi",
    "Valparaíso",
    "Perth",
];

/// What any article may say.
pub(super) const SENTENCES: [&str; 18] = [
    "It is easy to speak of {thing} as if they explained themselves.",
    "In {place} they have a saying about {thing}, and it does not flatter anyone.",
    "The first {n} attempts were instructive, and the next one worked.",
    "There is a moment when {thing} stop being a detail and become the plan.",
    "Some prefer {other}; they have usually not met {thing} on a bad day.",
    "Whoever has spent {n} evenings with {thing} knows how quiet a room can be.",
    "We wrote everything down, which is how we know that we were wrong twice.",
    "The difference between {thing} and {other} is mostly a matter of when you look.",
    "An old notebook from {place} lists {n} exceptions, each with a date.",
    "None of this is new, and that is rather the point.",
    "What remains is small, useful and a little heavier than expected.",
    "Ask three people about {thing} and you will get {n} answers, all of them confident.",
    "It took a visit to {place} to see what had been in front of us.",
    "Care is cheaper than repair, though the invoice comes earlier.",
    "The rule of thumb survives because it is short, not because it is right.",
    "By then {other} had become somebody else's problem, which is not the same as solved.",
    "Patience is not waiting: it is knowing what you are waiting for.",
    "One can do without {thing}, as one can do without handrails.",
];

/// Headings inside long articles.
pub(super) const HEADINGS: [&str; 6] = [
    "How it began",
    "What we measured",
    "A detour through {place}",
    "Where {thing} come in",
    "What we would do again",
    "What is left",
];

/// Tags: name, slug.
pub(super) const TAGS: [(&str, &str); 16] = [
    ("Beginners", "beginners"),
    ("Craft", "craft"),
    ("Failure", "failure"),
    ("Field notes", "field-notes"),
    ("History", "history"),
    ("How-to", "how-to"),
    ("Interview", "interview"),
    ("Long read", "long-read"),
    ("Maps", "maps"),
    ("Measuring", "measuring"),
    ("Opinion", "opinion"),
    ("Patience", "patience"),
    ("Travel", "travel"),
    ("Tools", "tools"),
    ("Weather", "weather"),
    ("Çeşitli", "cesitli"),
];

/// Authors: name, user name, a few words.
pub(super) const AUTHORS: [(&str, &str, &str); 8] = [
    ("Ada Ridge", "ada", "Writes about ridges, rope and restarts."),
    ("Bruno Falk", "bruno", "Bakes before dawn and edits after it."),
    ("Chiyo Tanabe", "chiyo", "Measures first. Usually also second."),
    ("Dario Monte", "dario", "Has been lost in nine countries."),
    ("Élise Marchand", "elise", "Draws the maps, then walks them."),
    ("Freya Lind", "freya", "Keeps lighthouses, and notes about them."),
    ("Grzegorz Wójcik", "grzegorz", "Restores clocks and databases."),
    ("Hana Öz", "hana", "Collects query plans and tea tins."),
];
