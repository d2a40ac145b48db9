version 1.0

# Align paired reads to a small genome and call variants: bwa, samtools, bcftools.
workflow lambda_variants {
    input {
        File reference
        File reads_1
        File reads_2
        String sample = "lambda"
        String image = "localhost/wesgate/lambda:1"
    }

    call index {
        input:
            reference = reference,
            image = image
    }

    call align {
        input:
            indexed = index.indexed,
            reads_1 = reads_1,
            reads_2 = reads_2,
            sample = sample,
            image = image
    }

    call variants {
        input:
            indexed = index.indexed,
            bam = align.bam,
            bai = align.bai,
            image = image
    }

    output {
        File vcf = variants.vcf
        File bam = align.bam
        File bai = align.bai
        File alignment_statistics = align.statistics
        Int variants_called = variants.called
    }
}

task index {
    input {
        File reference
        String image
    }

    command <<<
        set -eu
        mkdir indexed
        gzip -c -d -f <'~{reference}' >indexed/reference.fa
        bwa index indexed/reference.fa
        samtools faidx indexed/reference.fa
    >>>

    output {
        Array[File] indexed = glob("indexed/reference.fa*")
    }

    runtime {
        docker: image
        cpu: 1
        memory: "512 MB"
    }
}

task align {
    input {
        Array[File] indexed
        File reads_1
        File reads_2
        String sample
        String image
        Int cpu = 2
    }

    # The first of the sorted names is the reference itself; bwa looks for the others beside it.
    command <<<
        set -eu -o pipefail
        bwa mem -t ~{cpu} -R '@RG\tID:~{sample}\tSM:~{sample}' '~{indexed[0]}' '~{reads_1}' '~{reads_2}' |
            samtools sort -@ 1 -m 128M -o aligned.bam -
        samtools index aligned.bam
        samtools flagstat aligned.bam >statistics.txt
    >>>

    output {
        File bam = "aligned.bam"
        File bai = "aligned.bam.bai"
        File statistics = "statistics.txt"
    }

    runtime {
        docker: image
        cpu: cpu
        memory: "1 GB"
    }
}

task variants {
    input {
        Array[File] indexed
        File bam
        File bai
        String image
    }

    command <<<
        set -eu -o pipefail
        bcftools mpileup -f '~{indexed[0]}' '~{bam}' |
            bcftools call --ploidy 1 --multiallelic-caller --variants-only --output-type v --output variants.vcf
        bcftools view -H variants.vcf | wc -l >called.txt
    >>>

    output {
        File vcf = "variants.vcf"
        Int called = read_int("called.txt")
    }

    runtime {
        docker: image
        cpu: 1
        memory: "512 MB"
    }
}
