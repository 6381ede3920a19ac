"use strict";
// Inflating of RFC 1951 (deflate), at once and in any browser: DecompressionStream, which newer
// browsers have, answers later only.
const inflate = (() => {
  const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
  const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
  const DISTANCES = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
  const DISTANCE_BITS = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
  const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

  // for every value of the next bits: symbol * 16 + length of its code
  function codeTable(lengths) {
    const longest = Math.max(...lengths, 1);
    const entries = new Uint16Array(1 << longest);
    let code = 0;
    for (let length = 1; length <= longest; length++) {
      for (let symbol = 0; symbol < lengths.length; symbol++) {
        if (lengths[symbol] !== length) continue;
        let reversed = 0;
        for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
        for (let at = reversed; at < entries.length; at += 1 << length) entries[at] = (symbol << 4) | length;
        code++;
      }
      code <<= 1;
    }
    return { entries, longest };
  }

  const FIXED = [
    codeTable(Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))),
    codeTable(new Array(30).fill(5)),
  ];

  // bytes (Uint8Array), size of what they become
  return (bytes, size) => {
    const out = new Uint8Array(size);
    let [from, to, held, count] = [0, 0, 0, 0];

    const fill = (wanted) => {
      while (count < wanted) {
        held |= (bytes[from++] || 0) << count;
        count += 8;
      }
    };
    const bits = (wanted) => {
      fill(wanted);
      const value = held & ((1 << wanted) - 1);
      held >>>= wanted;
      count -= wanted;
      return value;
    };
    const symbolOf = ({ entries, longest }) => {
      fill(longest);
      const entry = entries[held & ((1 << longest) - 1)];
      held >>>= entry & 15;
      count -= entry & 15;
      return entry >> 4;
    };

    function stored() {
      // whole bytes that were read ahead are given back
      from -= count >> 3;
      held = count = 0;
      const length = bytes[from] | (bytes[from + 1] << 8);
      out.set(bytes.subarray(from + 4, from + 4 + length), to);
      from += 4 + length;
      to += length;
    }

    function codes() {
      const [literals, distances] = [bits(5) + 257, bits(5) + 1];
      const ofLengths = new Array(19).fill(0);
      for (let i = 0, n = bits(4) + 4; i < n; i++) ofLengths[ORDER[i]] = bits(3);
      const table = codeTable(ofLengths);
      const lengths = [];
      while (lengths.length < literals + distances) {
        const symbol = symbolOf(table);
        if (symbol < 16) lengths.push(symbol);
        else {
          const again = symbol === 16 ? lengths[lengths.length - 1] : 0;
          const times = symbol === 16 ? 3 + bits(2) : symbol === 17 ? 3 + bits(3) : 11 + bits(7);
          for (let i = 0; i < times; i++) lengths.push(again);
        }
      }
      return [codeTable(lengths.slice(0, literals)), codeTable(lengths.slice(literals))];
    }

    function coded([literals, distances]) {
      for (;;) {
        const symbol = symbolOf(literals);
        if (symbol < 256) out[to++] = symbol;
        else if (symbol === 256) return;
        else {
          const length = LENGTHS[symbol - 257] + bits(LENGTH_BITS[symbol - 257]);
          const which = symbolOf(distances);
          const distance = DISTANCES[which] + bits(DISTANCE_BITS[which]);
          for (let i = 0; i < length; i++, to++) out[to] = out[to - distance];
        }
        if (to > size) throw new Error("more bytes than expected");
      }
    }

    for (let last = 0; !last; ) {
      last = bits(1);
      const kind = bits(2);
      if (kind === 0) stored();
      else if (kind === 3) throw new Error("not deflated");
      else coded(kind === 1 ? FIXED : codes());
      if (from > bytes.length + 8) throw new Error("fewer bytes than expected");
    }
    return out;
  };
})();
