// Searching as people ask: in sentences, and for a job rather than for a message.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;

  // Pages that tell how something is done come before those that list and define.
  const LISTS = /^(user_guide\/(errors|parameters|index)|design|glossary|api|index|gallery\/index)$/;
  const GUIDES = /^(user_guide|gallery|getting_started|which_estimator|faq)/;
  Scorer.score = ([page, , , , score]) => score + (LISTS.test(page) ? -8 : GUIDES.test(page) ? 3 : 0);

  // Sphinx finds the pages that have every word, so that a sentence finds none. Where
  // few have, those that have some follow; a word that few pages have counts for more.
  const ENOUGH = 5;
  const withEveryWord = Search.performTermsSearch;
  const withSomeWords = (words, excluded) => {
    const pages = new Map();
    for (const word of words) {
      const found = withEveryWord(new Set([word]), excluded);
      const weight = Math.log(1 + Search._index.docnames.length / Math.max(1, found.length));
      for (const result of found) {
        const page = pages.get(result[0]) ?? { result, sum: 0 };
        page.sum += weight * Math.sqrt(result[4]);
        pages.set(result[0], page);
      }
    }
    const most = Math.max(...[...pages.values()].map(({ sum }) => sum));
    return [...pages.values()].map(({ result, sum }) => [
      ...result.slice(0, 4), 4 * sum / most, ...result.slice(5),
    ]).filter((result) => result[4] > 1.5);
  };
  // Pages of the index's entries whose words are all among those asked for, and others
  // with them: Sphinx itself finds the entries that are all that is asked for.
  const byEntry = (words) => {
    const { docnames, titles, filenames, indexentries } = Search._index;
    const stemmer = new Stemmer();
    const found = [];
    for (const [entry, places] of Object.entries(indexentries)) {
      const parts = splitQuery(entry).map((word) => stemmer.stemWord(word));
      if (!parts.length || parts.length === words.size) continue;
      if (!parts.every((part) => words.has(part))) continue;
      for (const [file] of places) {
        const score = 15 + 10 * parts.length;
        found.push([docnames[file], titles[file], "", null, score, filenames[file], SearchResultKind.index]);
      }
    }
    return found;
  };

  Search.performTermsSearch = (words, excluded) => {
    const found = [...byEntry(words), ...withEveryWord(words, excluded)];
    if (found.length < ENOUGH && words.size > 1) found.push(...withSomeWords(words, excluded));
    const best = new Map();
    for (const result of found) {
      if (!(best.get(result[0])?.[4] >= result[4])) best.set(result[0], result);
    }
    return [...best.values()];
  };
});
