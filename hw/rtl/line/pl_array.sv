// PE x SIMD multipliers, and what other layers want instead. Bytes of line memory and of weight memory come a cycle after
// `valid`; a result is written five cycles after it.
module pl_array
    import pl_fields::*;
#(
    parameter int N = 16,
    parameter int PORTS = 1,
    parameter int LANES = 1,
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int SUM_WORDS = 1,    // PE sums of means each
    parameter int WORK_BITS = 32,
    parameter int TABLES = 0        // of 256 bytes each
) (
    input  logic                                clk,
    input  logic                                rst,
    input  logic [FIELDS-1:0][N-1:0]            layer,
    input  logic [PORTS-1:0]                    is_signed,
    input  logic [PORTS-1:0][4:0]               align,
    input  logic [WORK_BITS-1:0]                addend,
    input  logic [WORK_BITS-1:0]                multiplier,
    input  logic                                valid,
    input  logic                                first,
    input  logic                                fresh,
    input  logic [PORTS-1:0][LANES-1:0]         mask,
    input  logic [N-1:0]                        lanes,
    input  logic [N-1:0]                        sums,
    input  logic                                keep,
    input  logic                                write,
    input  logic [N-1:0]                        write_address,
    input  logic [N-1:0]                        channels,
    input  logic [PORTS-1:0][LANES-1:0][7:0]    data,
    input  logic [PE*SIMD-1:0][7:0]             weights,
    input  logic [PE-1:0][31:0]                 biases,
    output logic [N-1:0]                        result_address,
    output logic [PE-1:0]                       result_mask,
    output logic [PE-1:0][7:0]                  result
);
    localparam int SUM_BITS = 32;
    localparam int WIDE = (WORK_BITS > SUM_BITS) ? WORK_BITS + 1 : SUM_BITS + 1;
    localparam int PLACE_BITS = (SUM_WORDS > 1) ? $clog2(SUM_WORDS) : 1;
    localparam int WORD_BITS = (PE * SIMD > 1) ? $clog2(PE * SIMD) : 1;
    logic is_affine, is_conv, is_depthwise, is_max, is_sums, is_table, divides;
    assign is_conv = layer[F_KIND] == N'(CONV);
    assign is_affine = layer[F_KIND] == N'(AFFINE);
    assign is_depthwise = layer[F_KIND] == N'(DEPTHWISE);
    assign is_max = layer[F_KIND] == N'(MAX);
    assign is_sums = layer[F_KIND] == N'(SUMS);
    assign is_table = layer[F_KIND] == N'(TABLE);
    assign divides = is_sums || layer[F_KIND] == N'(MEAN);

    // What goes along with the numbers: 2 to 6.
    logic valid_2, first_2, fresh_2, keep_2, valid_3, first_3, fresh_3, keep_3;
    logic [PORTS*LANES-1:0] mask_2;
    logic [N-1:0] lanes_2, sums_2, sums_3;
    logic [6:2] writes;
    logic [6:2][N-1:0] addresses, counts;
    logic [PE-1:0][31:0] biases_3;
    always_ff @(posedge clk) begin
        {valid_2, first_2, fresh_2, keep_2} <= {valid & ~rst, first, fresh, keep};
        {valid_3, first_3, fresh_3, keep_3} <= {valid_2 & ~rst, first_2, fresh_2, keep_2};
        mask_2 <= mask;
        lanes_2 <= lanes;
        sums_2 <= sums;
        sums_3 <= sums_2;
        biases_3 <= biases;
        writes <= rst ? '0 : {writes[5:2], write & valid};
        addresses <= {addresses[5:2], write_address};
        counts <= {counts[5:2], channels};
    end
    assign result_address = addresses[6];

    // 2: products, or the greatest, or the sum of what several ports give.
    logic [PORTS*LANES*9-1:0] values;
    logic [LANES*9-1:0] merged;
    generate
        for (genvar q = 0; q < PORTS; q++) begin : g_port
            for (genvar i = 0; i < LANES; i++) begin : g_lane
                assign values[(q*LANES+i)*9+:9] = mask_2[q*LANES+i] ? {is_signed[q] & data[q][i][7], data[q][i]} : '0;
            end
        end
    endgenerate
    always_comb begin
        merged = '0;
        for (int q = 0; q < PORTS; q++) merged = merged | values[q*LANES*9+:LANES*9];
    end
    logic [PLACE_BITS-1:0] place;
    assign place = PLACE_BITS'(sums_3);
    generate
        for (genvar p = 0; p < PE; p++) begin : g_pe
            logic signed [16:0] products [SIMD];
            for (genvar s = 0; s < SIMD; s++) begin : g_simd
                logic signed [8:0] value, shared;
                logic signed [7:0] weight;
                logic [WORD_BITS-1:0] from;
                if (s < PORTS) begin : g_own  // of a depthwise conv: its tap, its channel
                    assign value = is_depthwise ? values[(s*LANES+p)*9+:9] : shared;
                end else begin : g_shared
                    assign value = shared;
                end
                assign shared = (is_affine && s == 0) ? merged[p*9+:9] : merged[s*9+:9];
                assign from = WORD_BITS'(N'(p) * lanes_2 + N'(s));
                assign weight = (N'(s) < lanes_2 && N'(p) < counts[2]) ? weights[from] : '0;
                always_ff @(posedge clk) products[s] <= 17'(value) * 17'(weight);
            end

            logic signed [SUM_BITS-1:0] joined, value, joined_3, total, bias, prior, sum;
            logic found;
            always_comb begin
                joined = '0;
                found = 1'b0;
                value = '0;
                for (int q = 0; q < PORTS; q++) begin
                    value = SUM_BITS'($signed(values[(q*LANES+p)*9+:9]));
                    if (is_max) begin
                        if (mask_2[q*LANES+p] && (!found || value > joined)) joined = value;
                        found = found | mask_2[q*LANES+p];
                    end else joined = joined + (value <<< align[q]);
                end
            end
            always_ff @(posedge clk) joined_3 <= joined;

            // What a table says; its sign is that of the results' format.
            logic [7:0] looked_3;
            if (TABLES > 0) begin : g_table
                localparam int TABLE_BITS = $clog2(256 * TABLES);
                logic [7:0] rom [256 * TABLES];
                logic [TABLE_BITS-1:0] entry;
                initial $readmemh("tables.hex", rom);
                assign entry = TABLE_BITS'({layer[F_TABLE], merged[p*9+:8]});
                always_ff @(posedge clk) looked_3 <= rom[entry];
            end else begin : g_none
                assign looked_3 = '0;
            end

            // 3: sums.
            logic [SUM_BITS-1:0] kept [SUM_WORDS];
            assign bias = (layer[F_BIAS] == '0) ? '0 : biases_3[p];
            assign prior = !first_3 ? sum : is_sums ? (fresh_3 ? '0 : kept[place]) : bias;
            always_comb begin
                if (is_conv || is_depthwise || is_affine) begin
                    total = prior;
                    for (int s = 0; s < SIMD; s++) total = total + SUM_BITS'(products[s]);
                end else if (is_table) total = SUM_BITS'($signed({layer[F_LOW][N-1] & looked_3[7], looked_3}));
                else total = is_sums ? prior + joined_3 : joined_3;
            end
            always_ff @(posedge clk) begin
                if (valid_3) sum <= total;
                if (keep_3) kept[place] <= total;
            end

            // 4: a mean's quotient, first half. 5: the result's format.
            logic [WORK_BITS-1:0] scaled, quotient, divided;
            logic signed [SUM_BITS-1:0] sum_5;
            logic signed [WIDE-1:0] whole;
            logic [7:0] out;
            assign scaled = (WORK_BITS'(sum) << layer[F_UP]) + addend;
            always_ff @(posedge clk) begin
                quotient <= scaled * multiplier;
                sum_5 <= sum;
            end
            assign divided = quotient >> layer[F_DROP];
            assign whole = divides ? $signed(WIDE'(divided)) - WIDE'($signed(layer[F_ZERO])) : WIDE'(sum_5);
            pl_requantise #(.IN_BITS(WIDE), .N(N)) requantise (
                .in(whole), .right(layer[F_RIGHT][5:0]), .left(layer[F_LEFT][3:0]), .high(layer[F_HIGH]),
                .low(layer[F_LOW]), .out
            );
            always_ff @(posedge clk) result[p] <= out;
            assign result_mask[p] = writes[6] && N'(p) < counts[6];
        end
    endgenerate
    logic unused;
    assign unused = &{1'b0, layer, sums_3, merged};
endmodule
