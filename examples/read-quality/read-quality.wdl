version 1.0

# A report on the base quality of sequencing reads: split the FASTQ file into shards, count the quality scores of each
# shard at each position, all at the same time, then add up, summarize and plot. Standard tools only.
workflow read_quality {
    input {
        File reads
        Int shard_reads = 500
        String title = "Base quality of the reads"
    }

    call split {
        input:
            reads = reads,
            shard_reads = shard_reads
    }

    scatter (shard in split.shards) {
        call count {
            input:
                shard = shard
        }
    }

    call summarize {
        input:
            counts = count.counts
    }

    call plot {
        input:
            summary = summarize.summary,
            title = title
    }

    output {
        File summary = summarize.summary
        File svg = plot.svg
        Int reads_seen = summarize.reads_seen
        Float mean_quality = summarize.mean_quality
    }
}

task split {
    input {
        File reads
        Int shard_reads
    }

    command <<<
        set -eu
        # 1f 8b begins a gzip file.
        case $(head -c 2 '~{reads}' | od -A n -t x1 | tr -d ' ') in
        1f8b) gzip -c -d <'~{reads}' ;;
        *) cat '~{reads}' ;;
        esac | split -a 4 -l $((~{shard_reads} * 4)) - shard_
        ls shard_* >/dev/null 2>&1 || { echo "there are no reads in the file" >&2; exit 1; }
    >>>

    output {
        Array[File] shards = glob("shard_*")
    }

    runtime {
        docker: "debian:bookworm-slim"
        cpu: 1
        memory: "256 MB"
    }
}

task count {
    input {
        File shard
    }

    # Lines of the output: position, quality score, number of bases.
    command <<<
        set -eu
        awk '
            function stop(cause) {
                print "record " int((NR + 3) / 4) ": " cause >"/dev/stderr"
                stopped = 1
                exit 1
            }
            BEGIN { for (code = 33; code < 127; code++) score[sprintf("%c", code)] = code - 33 }
            NR % 4 == 1 && !/^@/ { stop("the name does not begin with @") }
            NR % 4 == 2 { bases = length($0) }
            NR % 4 == 3 && !/^[+]/ { stop("the third line does not begin with +") }
            NR % 4 == 0 {
                if (length($0) != bases) stop(bases " bases, but " length($0) " quality scores")
                for (at = 1; at <= bases; at++) {
                    letter = substr($0, at, 1)
                    if (!(letter in score)) stop("a quality score is no printable character")
                    seen[at, score[letter]]++
                }
                if (bases > longest) longest = bases
            }
            END {
                if (!stopped && NR % 4 != 0) stop("the file ends in the middle of it")
                if (stopped) exit 1
                for (at = 1; at <= longest; at++)
                    for (quality = 0; quality < 94; quality++)
                        if ((at, quality) in seen) print at "\t" quality "\t" seen[at, quality]
            }
        ' '~{shard}' >counts.tsv
    >>>

    output {
        File counts = "counts.tsv"
    }

    runtime {
        docker: "debian:bookworm-slim"
        cpu: 1
        memory: "256 MB"
    }
}

task summarize {
    input {
        Array[File] counts
    }

    command <<<
        set -eu
        awk -F '\t' '
            # The smallest score that at least this share of the bases do not exceed.
            function quantile(at, share,    quality, below) {
                for (quality = 0; quality < 94; quality++) {
                    below += bases[at, quality]
                    if (below >= share * total[at]) return quality
                }
                return 93
            }
            {
                bases[$1, $2] += $3
                total[$1] += $3
                sum[$1] += $2 * $3
                if ($1 > longest) longest = $1
            }
            END {
                print "position\treads\tmean\tlower_quartile\tmedian\tupper_quartile"
                for (at = 1; at <= longest; at++) {
                    printf "%d\t%d\t%.3f\t%d\t%d\t%d\n", at, total[at], sum[at] / total[at],
                        quantile(at, 0.25), quantile(at, 0.5), quantile(at, 0.75)
                    all += total[at]
                    scores += sum[at]
                }
                printf "%d\n", total[1] >"reads.txt"
                printf "%.2f\n", (all ? scores / all : 0) >"mean.txt"
            }
        ' '~{sep="' '" counts}' >summary.tsv
    >>>

    output {
        File summary = "summary.tsv"
        Int reads_seen = read_int("reads.txt")
        Float mean_quality = read_float("mean.txt")
    }

    runtime {
        docker: "debian:bookworm-slim"
        cpu: 1
        memory: "256 MB"
    }
}

task plot {
    input {
        File summary
        String title
    }

    command <<<
        set -eu
        awk -F '\t' -v title_file='~{write_lines([title])}' '
            function x(position) { return left + (position - 0.5) * (width - left - right) / longest }
            function y(quality) { return height - bottom - quality * (height - top - bottom) / highest }
            function band(from, to, color) {
                printf "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"%s\"/>\n",
                    left, y(to), width - left - right, y(from) - y(to), color
            }
            function words(across, down, size, anchor, color, text) {
                printf "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n",
                    across, down, size, anchor, color, text
            }
            function path(values,    at, line) {
                for (at = 1; at <= longest; at++) line = line sprintf("%s%.1f,%.1f", at == 1 ? "M" : " L", x(at), y(values[at]))
                return line
            }
            function spacing(length_of_axis) {
                if (length_of_axis <= 20) return 2
                if (length_of_axis <= 60) return 5
                if (length_of_axis <= 160) return 10
                if (length_of_axis <= 400) return 25
                return int(length_of_axis / 1000 + 1) * 100
            }
            NR > 1 {
                longest = $1
                reads[$1] = $2; mean[$1] = $3; low[$1] = $4; middle[$1] = $5; high[$1] = $6
                if ($6 > highest) highest = $6
            }
            END {
                getline title <title_file
                gsub(/&/, "\\&amp;", title); gsub(/</, "\\&lt;", title); gsub(/>/, "\\&gt;", title)
                gsub(/[\001-\010\013\014\016-\037]/, " ", title)
                width = 960; height = 480; left = 64; right = 28; top = 66; bottom = 58
                if (highest < 42) highest = 42

                printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\"", width, height
                print " font-family=\"Helvetica, Arial, sans-serif\">"
                printf "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width, height
                words(left, 30, 20, "start", "#1f2937", title)
                words(left, 51, 13, "start", "#6b7280", reads[1] " reads of up to " longest " bases; line: mean, dots: median, band: quartiles")

                band(0, 20, "#fdecec"); band(20, 28, "#fff6e0"); band(28, highest, "#edf7ee")
                for (quality = 0; quality <= highest; quality += 10) {
                    printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#d1d5db\"/>\n",
                        left, width - right, y(quality), y(quality)
                    words(left - 10, y(quality) + 4, 13, "end", "#4b5563", quality)
                }
                step = spacing(longest)
                for (at = step; at <= longest; at += step) {
                    printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#9ca3af\"/>\n",
                        x(at), x(at), height - bottom, height - bottom + 5
                    words(x(at), height - bottom + 20, 13, "middle", "#4b5563", at)
                }

                area = path(high)
                for (at = longest; at >= 1; at--) area = area sprintf(" L%.1f,%.1f", x(at), y(low[at]))
                printf "<path d=\"%s Z\" fill=\"#2563eb\" fill-opacity=\"0.16\"/>\n", area
                for (at = 1; at <= longest; at++)
                    printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"1.6\" fill=\"#1e3a8a\"/>\n", x(at), y(middle[at])
                printf "<path d=\"%s\" fill=\"none\" stroke=\"#2563eb\" stroke-width=\"2.2\" stroke-linejoin=\"round\"/>\n", path(mean)

                printf "<path d=\"M%d,%d V%d H%d\" fill=\"none\" stroke=\"#4b5563\" stroke-width=\"1.2\"/>\n",
                    left, top, height - bottom, width - right
                words((left + width - right) / 2, height - 16, 14, "middle", "#1f2937", "position in the read (bases)")
                printf "<text transform=\"translate(22 %.1f) rotate(-90)\" font-size=\"14\" text-anchor=\"middle\" fill=\"#1f2937\">%s</text>\n",
                    (top + height - bottom) / 2, "quality (Phred)"
                print "</svg>"
            }
        ' '~{summary}' >quality.svg
    >>>

    output {
        File svg = "quality.svg"
    }

    runtime {
        docker: "debian:bookworm-slim"
        cpu: 1
        memory: "256 MB"
    }
}
