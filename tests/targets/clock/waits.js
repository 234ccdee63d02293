// Timers of node, and its two clocks: prints "ready", then name, outcome and elapsed milliseconds by the steady clock.
const ms = Number(process.argv[2]);
const began = process.hrtime.bigint();
const elapsed = () => Number(process.hrtime.bigint() - began) / 1e6;

setTimeout(() => console.log("setTimeout", true, elapsed()), ms);
require("timers/promises").setTimeout(ms).then(() => console.log("promise", true, elapsed()));
const interval = setInterval(() => {
    clearInterval(interval);
    console.log("setInterval", true, elapsed());
}, ms);
const first = performance.now();
setTimeout(() => console.log("performance", performance.now() > first, performance.now() - first), ms);
console.log("ready");
