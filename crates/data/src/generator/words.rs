//! Word lists and sentence patterns of the generator.

pub(super) struct Lists {
    pub(super) nouns: &'static str,
    pub(super) verbs: &'static str,
    pub(super) adjectives: &'static str,
    pub(super) places: &'static str,
    pub(super) units: &'static str,
    pub(super) patterns: &'static [&'static str],
}

pub(super) fn of(language: &str) -> &'static Lists {
    if language == "zh" { &CHINESE } else { &ENGLISH }
}

static ENGLISH: Lists = Lists {
    nouns: "harbor engineer orchard market river teacher library village farmer turbine museum bridge forest baker clinic \
        council valley printer kitchen station weaver garden factory lantern miller sailor archive beacon carpenter \
        dairy estuary foundry glacier hospital island journal kiln lighthouse meadow nursery observatory pasture quarry \
        railway shepherd tannery university vineyard workshop aqueduct brewery cathedral delta embankment ferry granary \
        highland inn jetty knoll lagoon mill notary office pottery reservoir sawmill theatre upland viaduct warehouse",
    verbs: "repaired measured visited described supplied inspected painted followed compared studied financed guarded \
        recorded restored surveyed harvested designed crossed opened closed planned rented taught heated cooled filled \
        emptied cleaned counted weighed lifted carried joined divided extended reduced replaced served tested watered",
    adjectives: "quiet broad ancient narrow bright modest careful steady northern remote wooden copper shallow fertile \
        crowded famous humble damp windy golden rural coastal central private public seasonal busy empty heavy light \
        rough smooth distant nearby formal gentle hidden sturdy swift tidy upper lower western eastern early late",
    places: "Ashford Brennick Calder Dunmore Elverton Farrow Glenholt Harwick Inverley Jarrow Kestrel Linwood Marlow \
        Norbury Oakham Penrith Quarley Rothwell Selby Thornton Ulverston Wexford Yarmouth Zennor Alder Birch Cedar",
    units: "kg km MW % tonnes dollars litres hours metres crates pages visitors",
    patterns: &[
        "the A N near P V the N before the A winter began.",
        "in P, a A N often V the A N that stands beside the N.",
        "after the N had V the N, the N of P asked for a A N.",
        "nobody in the A N knew why the N V the N of P.",
        "the N produced # in the first season, and the A N V the rest.",
        "a report from P says that the N V # during a A month.",
        "most of the N is A, so the N V it together with the N.",
        "when the A N was V by the N, people from P came to the N.",
        "the cost of the A N in P was #, more than the N had expected.",
        "it is the A N, and not the N, that the N of P V at last.",
        "between P and P the A N V a N with a A N.",
        "for the N, the A N and the A N were V in the same N.",
    ],
};

static CHINESE: Lists = Lists {
    nouns: "码头 工程师 果园 集市 河流 老师 图书馆 村庄 农民 水轮机 博物馆 桥梁 森林 面包师 诊所 议会 山谷 印刷厂 厨房 车站 \
        织工 花园 工厂 灯笼 磨坊 水手 档案馆 灯塔 木匠 牧场 河口 铸造厂 冰川 医院 岛屿 期刊 砖窑 草地 苗圃 天文台 采石场 铁路 \
        牧羊人 皮革厂 大学 葡萄园 作坊 水渠 酒厂 教堂 堤坝 渡船 粮仓 高地 客栈 栈桥 湖泊 公证处 办公楼 陶器 水库 锯木厂 剧院 仓库",
    verbs: "修理 测量 访问 描述 供应 检查 粉刷 跟随 比较 研究 资助 守卫 记录 修复 勘察 收割 设计 穿过 打开 关闭 规划 租用 \
        讲授 加热 冷却 装满 清空 打扫 清点 称量 抬起 搬运 连接 划分 扩建 缩小 更换 服务 测试 浇灌",
    adjectives: "安静 宽阔 古老 狭窄 明亮 朴素 细致 稳定 偏远 木制 铜制 浅浅 肥沃 拥挤 著名 简陋 潮湿 多风 金黄 乡间 沿海 中央 \
        私人 公共 季节性 繁忙 空旷 沉重 轻巧 粗糙 光滑 遥远 邻近 正式 温和 隐蔽 结实 敏捷 整洁 崭新",
    places: "青石镇 白河湾 云岭县 东桥村 南浦乡 北原市 西塘镇 长岗屯 柳林集 松坪寨 竹溪县 梅岭关 兰亭里 荷塘村 枫桥镇 桂山市 \
        沙洲岛 石门峡 金沙渡 银杏坡 玉泉县 珠江口 翠屏山 紫云台",
    units: "公斤 公里 兆瓦 % 吨 元 升 小时 米 箱 页 人次 万元",
    patterns: &[
        "P附近那座A的N在冬天到来之前被N仔细地V过。",
        "在P，一位A的N时常V立在N旁边的那座A的N。",
        "等到N把N都V完，P的N又想要一座A的N。",
        "A的N里没有人明白，为什么N要V属于P的N。",
        "这家N在上半季生产了#，其余的都由A的N来V。",
        "来自P的报告说，N在某个A的月份里V了#。",
        "这种N大多是A的，所以N和N常把它放在一起V。",
        "当A的N开始V的时候，人们从P赶到了N。",
        "P那座A的N花费了#，超出了N原来的预计。",
        "最后V它的并不是N，而是P那位A的N。",
        "从P到P之间，A的N用A的N来V那座N。",
        "对于N来说，A的N与A的N都在同样的N里V过。",
    ],
};
