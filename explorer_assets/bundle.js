// What the page takes of the library: one global function.
import createScatterplot from "regl-scatterplot";

globalThis.createScatterplot = createScatterplot;
