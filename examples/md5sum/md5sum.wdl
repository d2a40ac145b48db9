version 1.0

# The MD5 sum of one file.
workflow md5sum {
    input {
        File file
    }

    call sum {
        input:
            file = file
    }

    output {
        File report = sum.report
        String digest = sum.digest
    }
}

task sum {
    input {
        File file
    }

    command <<<
        set -eu
        md5sum <'~{file}' | cut -d ' ' -f 1 | tee md5sum.txt
    >>>

    output {
        File report = "md5sum.txt"
        String digest = read_string(stdout())
    }

    runtime {
        docker: "debian:bookworm-slim"
        cpu: 1
        memory: "256 MB"
    }
}
