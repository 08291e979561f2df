// The connection to the engine. It says "stale" as soon as the engine is
// silent, whether or not the browser has noticed that the connection is gone.

const silence = 8000; // ms; the engine sends at least a tick every 2 s

export function connect({ onHistory, onSnapshot, onState }) {
  let source, heard = Date.now(), since = null, everHeard = false;

  function alive() {
    heard = Date.now();
    everHeard = true;
    since = null;
    onState({ live: true, since: null });
  }
  function open() {
    source?.close();
    source = new EventSource("/v1/events");
    source.addEventListener("history", (e) => onHistory(JSON.parse(e.data)));
    source.addEventListener("snapshot", (e) => {
      const { time, snapshot } = JSON.parse(e.data);
      alive();
      onSnapshot(snapshot, Date.parse(time));
    });
    source.addEventListener("tick", (e) => {
      alive();
      onSnapshot(null, Date.parse(JSON.parse(e.data).time));
    });
    source.onerror = () => lost();
  }
  function lost() {
    since ??= everHeard ? heard : Date.now();
    onState({ live: false, since, everHeard });
  }
  open();
  setInterval(() => {
    const quiet = Date.now() - heard > silence;
    if (quiet || since !== null) lost();
    if (quiet && Date.now() - heard > 2 * silence) { // EventSource gave up, or the engine hangs
      heard = Date.now() - silence - 1;
      open();
    }
  }, 1000);
}
